"""Publishing over MQTT 5 at QoS 1, for the fleet and for recordings."""
