package dubbo

// Parameters of a reference that the registry reads.
const (
	// CallModeKey is how the reference calls, whatever else says: "pod" or "service".
	// client.WithParam(dubbo.CallModeKey, "service") sets it.
	CallModeKey = "call-mode"
	// paramProvidedBy names the applications that are called, with commas between them,
	// as namespace/name or, in the consumer's own namespace, by the name alone. Without
	// it they are those that offer the interface in the namespaces of the registry.
	// client.WithProvidedBy sets it.
	paramProvidedBy = "provided-by"
	// paramGroup names the groups that are called, with commas between them; * for any.
	// Without it, that is those that name none. client.WithGroup sets it.
	paramGroup = "group"
	// paramVersion names the version that is called; * for any. Without it, or 0.0.0, that
	// is those that name none. client.WithVersion sets it.
	paramVersion = "version"
)

// Parameters that the registry sets on the URL of an instance.
const (
	// paramWeight is the instance's share of calls beside the others', from the annotation
	// weirmesh.io/instance, or else the service's own.
	paramWeight = "weight"
	// paramTag is the tag by which Dubbo's tag routing chooses the instance.
	paramTag = "dubbo.tag"
	// paramZone is where the instance runs.
	paramZone = "zone"
	// paramCluster is the cluster the instance runs in, where there are several.
	paramCluster = "weir.cluster"
	// paramEnvironment is the instance's environment, where its metadata names one.
	paramEnvironment = "environment"
	// paramTimestamp is when the instance's process began to serve, in seconds since 1970,
	// by which Dubbo warms it up.
	paramTimestamp = "timestamp"
	// paramRemoteTimestamp is the same, under the name by which dubbo-go reads it.
	paramRemoteTimestamp = "remote.timestamp"
	// paramSerialization is hessian2 over the Dubbo protocol, where the service names none.
	paramSerialization = "serialization"
	// paramLane tells connections to one Service apart, in the mode service over Triple.
	paramLane = "meshClusterID"
)
