"""What a run is told: configuration, the table of keys, and which figures may be asked for."""
