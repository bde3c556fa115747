"""The same jobs done with the peers' own calls, as their documentation shows them."""
