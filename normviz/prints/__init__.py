"""Pictures drawn with Pillow: sheets to print, cards and annotated photos."""
