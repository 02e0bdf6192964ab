# Thin aliases: everything also works as `python -m steps …`, where there is no make.
PYTHON ?= python3
STEPS = @"$(PYTHON)" -m steps
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

list:            ; $(STEPS) list
step-%:          ; $(STEPS) run $*
serve-%:         ; $(STEPS) serve $*
diff-%:          ; $(STEPS) diff $* $(if $(HTML),--html)
start-%:         ; $(STEPS) start $*
check-%:         ; $(STEPS) check $* $(if $(HINT),--hint $(HINT))
reset-%:         ; $(STEPS) reset $*
progress:        ; $(STEPS) progress
doctor:          ; $(STEPS) doctor
carry-%:         ; $(STEPS) carry $*
attack-%:        ; $(STEPS) attack $*
break-%:         ; $(STEPS) attack $* --without $(or $(RULE),all)
attacks:         ; $(STEPS) attacks
lessons:         ; $(STEPS) lessons
diagrams:        ; $(STEPS) diagrams
wheelhouse:      ; $(STEPS) wheelhouse $(if $(PYTHONS),--python $(PYTHONS)) $(if $(PLATFORMS),--platform $(PLATFORMS))
test:            ; $(STEPS) test
test-all:        ; $(STEPS) test --everything
help:            ; $(STEPS) --help

.PHONY: attacks diagrams doctor lessons list progress test test-all help wheelhouse
