"""The training loop: it knows nothing of what is learnt."""
