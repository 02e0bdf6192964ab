# Thin aliases: everything also works as `python -m steps …`, where there is no make.
PYTHON ?= python3
STEPS = @"$(PYTHON)" -m steps
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

list:            ; $(STEPS) list
step-%:          ; $(STEPS) run $*
serve-%:         ; $(STEPS) serve $*
diff-%:          ; $(STEPS) diff $*
carry-%:         ; $(STEPS) carry $*
attack-%:        ; $(STEPS) attack $*
break-%:         ; $(STEPS) attack $* --without $(or $(RULE),all)
attacks:         ; $(STEPS) attacks
lessons:         ; $(STEPS) lessons
test:            ; $(STEPS) test
test-all:        ; $(STEPS) test --everything
help:            ; $(STEPS) --help

.PHONY: attacks list lessons test test-all help
