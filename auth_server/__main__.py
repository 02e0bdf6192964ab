"""`python -m auth_server`."""

from .operator import main

main()
