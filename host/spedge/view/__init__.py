"""What there is to see: pictures, videos, and the page that a browser shows."""
