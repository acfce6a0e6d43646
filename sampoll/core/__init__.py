"""Values and contracts, for all rooms: numpy and the standard library only, and no input or output."""
