# Thin aliases: everything also works as `python -m steps …`, where there is no make.
PYTHON ?= python3
STEPS = @"$(PYTHON)" -m steps
RUN = @"$(PYTHON)" -m tools.environment
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
auth-server:     ; $(RUN) auth_server run $(if $(DEMO),--demo) $(ARGS)
mcp-server:      ; $(RUN) mcp_server $(ARGS)
certs:           ; $(RUN) tools.certs $(ARGS)
together:        ; $(RUN) tools.together
benchmark:       ; $(RUN) tools.benchmark_programs $(ARGS)
wheelhouse:      ; $(STEPS) wheelhouse $(if $(PYTHONS),--python $(PYTHONS)) $(if $(PLATFORMS),--platform $(PLATFORMS))
test:            ; $(STEPS) test
test-all:        ; $(STEPS) test --everything
help:            ; $(STEPS) --help

.PHONY: attacks auth-server benchmark certs diagrams doctor lessons list mcp-server progress test test-all together help wheelhouse
