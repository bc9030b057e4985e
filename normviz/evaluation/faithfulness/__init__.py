"""Faithfulness: does the score drop when the pixels that a map marks are removed?"""
