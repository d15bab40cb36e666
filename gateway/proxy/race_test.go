//go:build race

package proxy

// raceDetector says whether the tests run under the race detector.
const raceDetector = true
