"""IntelePeer Insights in a notebook."""
