"""Networks for images of about 32 x 32 pixels."""
