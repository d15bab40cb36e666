//go:build race

package zookeeper

const raceDetector = true
