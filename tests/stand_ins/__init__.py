"""Small packages that stand in for large ones. Their folder is put on the path by the tests that want them."""
