// Package dubbo lets dubbo-go v3.3.2 discover services through any Weir
// registry: providers publish their instance through a registry.Registrar,
// consumers follow registry.Discoverer snapshots. It knows no registry itself;
// registry/dubbo/kubernetes joins it with Kubernetes.
//
//	binding, err := dubbo.Use("kubernetes", backend, dubbo.Config{Namespace: "shop"})
//	ins, err := dubbogo.NewInstance(dubbogo.WithName("inventory"), dubbogo.WithRegistry(binding.Options()...))
//
// # What dubbo-go sees
//
// Use registers an implementation of dubbo-go's registry.Registry. dubbo-go
// calls such a registry "interface-level", but what travels is application-level
// and the same as with Dubbo's own service discovery: one registration per
// instance in the format of Dubbo Java, one metadata document per revision, and
// a mapping from interfaces to applications. Owning the Registry, rather than
// sitting behind dubbo-go's service discovery, is what makes it possible to
// honour client.WithProvidedBy, to unsubscribe, to return a provider's errors
// from Serve, and never to hand on a list that is empty only because something
// could not be read. For configurations that ask for dubbo-go's service
// discovery by name (registry-type: service), Use registers a ServiceDiscovery
// and a MetadataReport too, which share everything but these four.
//
// # Consumers
//
// A reference asks the mapping which applications provide its interface, or
// takes those of client.WithProvidedBy. Each application is followed once per
// process. Instances are grouped by the revision of their metadata; the document
// of a revision is read from the MetadataStore, and from an instance's
// MetadataService only where the store has none. The first call waits for the
// first list (Config.SyncTimeout). A list goes to dubbo-go whole, from a
// goroutine of the reference, with the newest winning over those before it.
//
// # Providers
//
// Serve exports the services, then stores the metadata document, publishes the
// instance and maps its interfaces. What cannot be put right by waiting (no
// Service, no permission, a bad name) is what Serve returns; while the registry
// is away Serve waits, logs and keeps readiness false. Shutting down publishes
// the state "draining" first, and withdraws the instance once dubbo-go has
// stopped serving.
package dubbo
