package access

// MostProven is mostProven.
const MostProven = mostProven
