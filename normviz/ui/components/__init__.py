"""Components: page elements with their own JavaScript, each in a folder with its Python."""
