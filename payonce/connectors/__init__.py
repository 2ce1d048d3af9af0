"""Connectors: stateless mappings between our requests and one acquirer's wire."""
