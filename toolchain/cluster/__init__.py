"""Jobs for other processes, here or on other machines: who does them, and what is kept."""
