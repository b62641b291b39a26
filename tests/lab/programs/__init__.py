"""Small programs that tests run inside panes."""
