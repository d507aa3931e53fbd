"""Files, events and item changes enter the lake, checked row by row."""
