"""Networks: the embedded classifiers, the catalog, user models, and networks from the Hugging Face Hub."""
