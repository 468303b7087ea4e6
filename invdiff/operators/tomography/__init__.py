"""X-ray projections: parallel beams and fan beams, on one model of rays."""
