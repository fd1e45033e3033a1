"""One check of the rules: what is new is read, evaluated, written; who checks, and what without a database."""
