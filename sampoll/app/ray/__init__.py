"""`sampoll batch` by actors of Ray, on this machine or on the machines of a cluster."""
