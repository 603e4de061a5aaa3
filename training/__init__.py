"""What makes the LoRA weights and the config's numbers; runs where there is time, never in the kernel."""
