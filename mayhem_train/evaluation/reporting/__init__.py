"""What the reports share: which frames they show, how these are drawn, and the look of the page."""
