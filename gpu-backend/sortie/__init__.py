"""Sorted fine-tuning: train, evaluate and generate data for nested, early-exit LLaMA models."""
