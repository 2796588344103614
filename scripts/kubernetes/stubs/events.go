package eventemitter

// A stand-in for Azure's Event Grid, which is left out.

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1"

	eventing "github.com/kedacore/keda/v2/apis/eventing/v1alpha1"
	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/eventemitter/eventdata"
)

type AzureEventGridTopicHandler struct{}

func NewAzureEventGridTopicHandler(context.Context, string, *eventing.AzureEventGridTopicSpec, map[string]string, v1alpha1.AuthPodIdentity, logr.Logger) (*AzureEventGridTopicHandler, error) {
	return nil, errors.New("Event Grid is left out of this build")
}

func (*AzureEventGridTopicHandler) CloseHandler() {}

func (*AzureEventGridTopicHandler) SetActiveStatus(v1.ConditionStatus) {}

func (*AzureEventGridTopicHandler) GetActiveStatus() v1.ConditionStatus { return v1.ConditionFalse }

func (*AzureEventGridTopicHandler) EmitEvent(eventdata.EventData, func(eventdata.EventData, error)) {}
