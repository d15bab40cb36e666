package postgres

// Keep is what Run does every few minutes.
var Keep = (*Store).keep
