"""Programs as data: graphs and guards, and functions that print, count, compare and interpret them."""
