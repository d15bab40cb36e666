package dubboconfig

import (
	"encoding/json"
	"fmt"
)

// The types of messages that a client of configuration sends, and those that it
// is answered and told with.
const (
	kindServerCheck    = "ServerCheckRequest"
	kindSetup          = "ConnectionSetupRequest"
	kindHealthCheck    = "HealthCheckRequest"
	kindQuery          = "ConfigQueryRequest"
	kindListen         = "ConfigBatchListenRequest"
	kindPublish        = "ConfigPublishRequest"
	kindRemove         = "ConfigRemoveRequest"
	kindServerChecked  = "ServerCheckResponse"
	kindHealthChecked  = "HealthCheckResponse"
	kindQueried        = "ConfigQueryResponse"
	kindListened       = "ConfigChangeBatchListenResponse"
	kindPublished      = "ConfigPublishResponse"
	kindRemoved        = "ConfigRemoveResponse"
	kindError          = "ErrorResponse"
	kindSetupAck       = "SetupAckRequest"
	kindChanged        = "ConfigChangeNotifyRequest"
	kindConnectReset   = "ConnectResetRequest"
	moduleConfig       = "config"
	moduleInternal     = "internal"
	contentTypeOfRules = "yaml"
)

// Codes of answers.
const (
	resultOK     = 200
	resultFailed = 500

	codeFailed       = 500
	codeNotFound     = 300 // there is no such document, which is no failure
	codeUnregistered = 301 // the connection has no stream: connect anew
	codeNoHandler    = 302
	codeForbidden    = 403
)

// request is what is read of any request.
type request struct {
	RequestID string `json:"requestId"`

	// Of one document.
	DataID string `json:"dataId"`
	Group  string `json:"group"`
	Tenant string `json:"tenant"`

	// Of listening.
	Listen   *bool      `json:"listen"`
	Contexts []listened `json:"configListenContexts"`

	// Of the beginning.
	Version string `json:"clientVersion"`
}

// listened is a document that a client wants to hear of, and the hash of what it
// holds; empty for nothing.
type listened struct {
	DataID string `json:"dataId"`
	Group  string `json:"group"`
	Tenant string `json:"tenant"`
	MD5    string `json:"md5"`
}

// named names a document.
type named struct {
	DataID string `json:"dataId"`
	Group  string `json:"group"`
	Tenant string `json:"tenant"`
}

// answer is what all answers have.
type answer struct {
	Result    int    `json:"resultCode"`
	Code      int    `json:"errorCode"`
	Message   string `json:"message,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	Success   bool   `json:"success"`
}

func fine(r request) answer { return answer{Result: resultOK, RequestID: r.RequestID, Success: true} }

func failed(r request, code int, message string) answer {
	return answer{Result: resultFailed, Code: code, Message: message, RequestID: r.RequestID}
}

type serverChecked struct {
	answer
	ConnectionID string `json:"connectionId"`
	// Negotiates promises a SetupAckRequest, before which the client asks nothing.
	Negotiates bool `json:"supportAbilityNegotiation"`
}

type queried struct {
	answer
	Content     string `json:"content,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	MD5         string `json:"md5,omitempty"`
	Modified    int64  `json:"lastModified,omitempty"`
}

type changes struct {
	answer
	Changed []named `json:"changedConfigs"`
}

// told is what the control plane sends by itself.
type told struct {
	RequestID string `json:"requestId"`
	Module    string `json:"module"`
	*named
	Abilities map[string]bool `json:"abilityTable,omitempty"`
}

// message makes a payload of a message.
func message(kind string, body any) payload {
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("governance/dubboconfig: a %s is no JSON: %v", kind, err))
	}
	return payload{kind: kind, body: data}
}

// parseRequest reads the body of a request.
func parseRequest(p payload) (request, error) {
	var r request
	if len(p.body) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(p.body, &r); err != nil {
		return request{}, fmt.Errorf("the body of a %s is not what it should be: %w", p.kind, err)
	}
	if len(r.RequestID) > maxID {
		return request{}, fmt.Errorf("the requestId of a %s has more than %d bytes", p.kind, maxID)
	}
	return r, nil
}

// maxID bounds the identity of a request, which is answered with it. Stock clients
// send none, or a number.
const maxID = 64
