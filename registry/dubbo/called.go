package dubbo

import "github.com/weirmesh/weir/registry"

// called is what of an application a reference can call.
type called struct {
	pods  []entry
	marks []uint64 // one for each of pods
	// others is how many instances offer something else than is asked for.
	others int
	// mute are those that are ready and have not said yet what they offer.
	mute []string
}

// calledOf takes the instances that are to be called, or, where none of those offers
// what is asked for, those that stand by: their cluster or zone is passed over for the
// application as a whole, which may be rolled out there first. complete is unset while
// something is unknown of those that are to be called.
func calledOf(app registry.App, v view, matching map[string][]*service) (of called, complete bool) {
	var stands called
	complete = true
	for i := range v.snapshot.Instances {
		instance := &v.snapshot.Instances[i]
		to := &of
		if instance.StandsBy() {
			to = &stands
		} else if !instance.Callable() {
			continue
		}
		switch instance.Revision {
		case noServices:
			to.others++
			continue
		case "":
			if instance.Health == registry.Ready {
				to.mute = append(to.mute, instance.ID)
			}
			continue
		}
		doc := v.documents[instance.Revision].doc
		if doc == nil {
			complete = complete && to == &stands
			continue
		}
		if e := (entry{instance: instance, services: matching[instance.Revision]}); e.callable() {
			to.pods = append(to.pods, e)
			to.marks = append(to.marks, mark(app, instance, doc))
		} else {
			to.others++
		}
	}
	if len(of.pods) == 0 && complete {
		of.pods, of.marks = stands.pods, stands.marks
	}
	return of, complete
}
