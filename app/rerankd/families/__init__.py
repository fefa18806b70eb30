"""Model families: how each is recognised, prompted and scored, and what it takes."""
