"""What every transport over Redis shares: the server, its errors, and the messages."""
