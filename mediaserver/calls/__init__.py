"""Calls: legs, bridges, conferences, routing and the programs that drive them. Start at `manager.CallManager`."""
