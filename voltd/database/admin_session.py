"""A session of whoever looks after the schema; what the server refuses comes out with what to do about it."""

import contextlib
import math
import re
from collections.abc import Iterator

import psycopg
from psycopg import sql

from voltd import errors
from voltd.database import connections, sqlstate

Connection = psycopg.Connection[tuple[object, ...]]


@contextlib.contextmanager
def connected(dsn: str, *, patience_s: float = math.inf) -> Iterator[Connection]:
    """Connects in UTC, each statement a transaction of its own unless the caller begins one.

    Raises:
        errors.StoreUnavailable: the connection broke, a lock was not to be had, or no answer within ``patience_s``.
        errors.SchemaError: a role may not do it, the server lacks a feature, or others have built on what changes.
    """
    try:
        with connections.Connection.connect(dsn, autocommit=True, application_name="voltd migrate") as connection:
            connection.patience_s = patience_s
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute("SET client_min_messages = warning")
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.SchemaError(
            str(error.diag.message_primary or error),
            hint=error.diag.message_hint or "run it as an administrator or as volt_owner, who owns the schema",
        ) from error
    except psycopg.errors.FeatureNotSupported as error:
        raise errors.SchemaError(
            str(error.diag.message_primary or error),
            hint=error.diag.message_hint or "is the timescaledb extension installed on the server?",
        ) from error
    except psycopg.errors.DependentObjectsStillExist as error:
        raise _used_elsewhere(error) from error
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error


def _used_elsewhere(error: psycopg.Error) -> errors.SchemaError:
    """Names what others have built on objects that this version makes anew, and says how to get it out of the way."""
    users = (error.diag.message_detail or str(error)).splitlines()
    views = [found[1] for line in users if (found := re.match(r"(?:materialized )?view (.+?) depends on ", line))]
    definitions = ", ".join(f"pg_get_viewdef({_literal(view)}::regclass, true)" for view in dict.fromkeys(views))
    keep = f" (of views: SELECT {definitions})" if views else ""
    return errors.SchemaError(
        f"this version makes anew what others depend on; nothing was changed by this step: {'; '.join(users)}",
        hint=f'keep their definitions{keep}, drop them, run "voltd migrate" again, then create them again;'
        " docs/analysts.md has the columns of now",
    )


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)
