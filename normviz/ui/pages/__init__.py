"""What one page computes and draws, under the page's name."""
