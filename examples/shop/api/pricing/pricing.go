// Package pricing is what pricing and its callers share: the answer to
// GET /prices/{sku}.
package pricing

// Price is what an article costs.
type Price struct {
	Sku   string `json:"sku"`
	Cents int64  `json:"cents"`
	// Stale marks yesterday's price.
	Stale bool `json:"stale,omitempty"`
	// Guard says which package guarded the question.
	Guard    string `json:"guard"`
	ServedBy string `json:"servedBy"`
}
