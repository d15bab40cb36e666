//go:build race

package interop

// raceDetector says whether the tests run under the race detector.
const raceDetector = true
