"""Files as shops give them: bytes become rows, objects or elements, in bounded memory."""
