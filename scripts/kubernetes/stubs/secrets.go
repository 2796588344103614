package resolver

// Stand-ins for the secret stores of the clouds, which are left out.

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/listers/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/authentication"
)

var errLeftOut = errors.New("this secret store is left out of this build")

type (
	HashicorpVaultHandler   struct{}
	AzureKeyVaultHandler    struct{}
	GCPSecretManagerHandler struct{}
	AwsSecretManagerHandler struct{}
)

func NewHashicorpVaultHandler(*v1alpha1.HashiCorpVault, *authentication.AuthClientSet, string) *HashicorpVaultHandler {
	return new(HashicorpVaultHandler)
}

func (*HashicorpVaultHandler) Initialize(logr.Logger) error { return errLeftOut }

func (*HashicorpVaultHandler) ResolveSecrets([]v1alpha1.VaultSecret) ([]v1alpha1.VaultSecret, error) {
	return nil, errLeftOut
}

func (*HashicorpVaultHandler) Stop() {}

func NewAzureKeyVaultHandler(*v1alpha1.AzureKeyVault) *AzureKeyVaultHandler {
	return new(AzureKeyVaultHandler)
}

func (*AzureKeyVaultHandler) Initialize(context.Context, client.Client, logr.Logger, string, v1.SecretLister) error {
	return errLeftOut
}

func (*AzureKeyVaultHandler) Read(context.Context, string, string) (string, error) {
	return "", errLeftOut
}

func NewGCPSecretManagerHandler(*v1alpha1.GCPSecretManager) *GCPSecretManagerHandler {
	return new(GCPSecretManagerHandler)
}

func (*GCPSecretManagerHandler) Initialize(context.Context, client.Client, logr.Logger, string, v1.SecretLister) error {
	return errLeftOut
}

func (*GCPSecretManagerHandler) Read(context.Context, string, string) (string, error) {
	return "", errLeftOut
}

func NewAwsSecretManagerHandler(*v1alpha1.AwsSecretManager) *AwsSecretManagerHandler {
	return new(AwsSecretManagerHandler)
}

func (*AwsSecretManagerHandler) Initialize(context.Context, client.Client, logr.Logger, string, v1.SecretLister, *corev1.PodSpec) error {
	return errLeftOut
}

func (*AwsSecretManagerHandler) Read(context.Context, logr.Logger, string, string, string, string) (string, error) {
	return "", errLeftOut
}

func (*AwsSecretManagerHandler) Stop() {}
