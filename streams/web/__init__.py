"""The page of `orbitrack serve`: one HTML file without anything from elsewhere."""
