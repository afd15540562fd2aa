"""Intake of programs saved by torch.export."""
