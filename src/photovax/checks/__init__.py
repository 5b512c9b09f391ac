"""How strongly a photo is immunized, compared with random noise, and what is left of it later."""
