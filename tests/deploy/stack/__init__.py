"""Both deployments, made for real against the emulator, and what can be seen of them."""
