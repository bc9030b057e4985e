"""The only Streamlit below the pages: the page frame, the knobs, the board of linked charts."""
