"""From the broker to the window. Messages arrive here, and are acked here once they are stored.

``consumer`` runs the connection, ``session`` handles paho's callbacks, ``stream`` parses packets, ``window`` holds the
messages in flight, ``clients`` makes MQTT clients, ``client_id/`` keeps a second daemon off the client id.
"""
