"""What reads the body of an upstream's answer, whatever it is and whatever its label says."""
