"""The window over which frames are compared, apart from what compares them: that is compiled when it is imported."""

WINDOW = 111  # pixels a side; 111 * 111 * 255 * 255 fits uint32
