"""Private Mosquitto and PostgreSQL with TimescaleDB for ``voltd demo``, ``voltd local`` and the tests.

``start`` uses the first source that works: servers named in the environment, Docker, programs of this host, a private
tree of Debian packages. These are real servers, none is a fake. Production servers are not managed here.
"""

from voltd.local.interfaces import BrokerServer, DatabaseServer, ServerSource
from voltd.local.servers import Servers, prepare, start

__all__ = ["BrokerServer", "DatabaseServer", "ServerSource", "Servers", "prepare", "start"]
